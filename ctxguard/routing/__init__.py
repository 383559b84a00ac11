"""Which inference a question deserves: routes, and the state that processes share over them."""

__all__: list[str] = []
