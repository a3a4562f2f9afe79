"""How the groups of commands look."""

from __future__ import annotations

import typer


def command_group(text: str, *examples: str) -> typer.Typer:
    """Return a group of commands without any yet; its help ends with the examples."""
    return typer.Typer(
        help=text,
        epilog=epilog(*examples),
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


def epilog(*examples: str) -> str:
    """Return the end of a help text: examples, one a line."""
    # A paragraph that begins with a backspace is left as it is: click's rule.
    return "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)
