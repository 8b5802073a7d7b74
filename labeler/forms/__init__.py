"""The forms. One module a page group."""
