"""Image formats: recognise, create, inspect."""
