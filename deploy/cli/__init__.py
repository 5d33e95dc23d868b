"""Commands of `plantain` beside `run`: one file each; what is heavy is imported when the command is used."""
