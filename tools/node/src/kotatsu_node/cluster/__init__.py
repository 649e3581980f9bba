"""A cluster as a whole: bringing it up, what is installed into it, and what it leaves."""
