"""Coverage-guided fuzzing of what reads bytes that a guest or a stranger wrote."""
