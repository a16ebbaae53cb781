"""The goals of the project, measured: ours and its peers side by side in the same run."""
