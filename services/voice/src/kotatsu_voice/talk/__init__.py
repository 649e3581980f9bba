"""The bird talks: a line from Gemini or from its own script, always in hiragana."""
