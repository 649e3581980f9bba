"""The rules of the pet: pure functions and values, no clock, no storage, no HTTP."""
