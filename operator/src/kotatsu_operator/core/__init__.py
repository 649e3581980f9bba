"""Pure decisions: values in, values out, `now` passed in; no I/O, no clock, no framework."""
