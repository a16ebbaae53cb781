"""The models' own process: what it takes of memory goes back when it ends, and its crash is one error."""
