"""The kinds of question that models answer, each on its way through the model's thread: a module for each."""
