"""Japanese speech: text in, mp3 out, behind one Engine protocol."""
