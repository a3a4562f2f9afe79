"""The volary command."""
