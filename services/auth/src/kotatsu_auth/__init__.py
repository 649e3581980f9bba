"""GitHub identity: the OAuth code exchange and the answer to "who is this token?"."""
