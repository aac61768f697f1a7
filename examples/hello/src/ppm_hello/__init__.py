"""Says where it came from."""


def main() -> None:
    """Greet."""
    print("Hello from your own index.")
