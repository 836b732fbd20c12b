"""``python -m service`` and the program ``ext-scheduler``."""

from service.cli.main import main

if __name__ == "__main__":
    main()
