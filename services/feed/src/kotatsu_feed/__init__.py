"""The pet: a small blue bird fed with GitHub contributions to Dart repositories."""
