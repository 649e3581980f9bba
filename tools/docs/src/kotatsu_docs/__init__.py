"""The pages of docs/ that are generated, and the site made of all pages."""
