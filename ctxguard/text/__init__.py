"""Text: tokens, sentences and facts, each computed once per distinct text."""
