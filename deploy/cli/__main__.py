"""`python -m plantain.deploy.cli`: the command `plantain`."""

from plantain.deploy.cli.app import main

if __name__ == "__main__":
    main()
