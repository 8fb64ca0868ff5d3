"""Entry of ``python -m example.demo``, in syntax that any Python parses, so that an old one is told what it lacks."""

import sys

OLDEST = (3, 10)
ADVICE = ".\nInstall one (your system's packages, pyenv or python.org have it) and run `make demo` again."


def main():
    """Run the demo, or say what this Python lacks; return the exit status."""
    if sys.version_info < OLDEST:
        return (
            "The demo needs Python " + _dotted(OLDEST) + " or newer; this is " + _dotted(sys.version_info[:3]) + ADVICE
        )
    try:
        from example import run
    except ImportError as error:
        return str(error) + "\nThe environment is not complete; `make demo` makes it and then starts the demo."
    return run.main()


def _dotted(version):
    return ".".join(map(str, version))


if __name__ == "__main__":
    sys.exit(main())
