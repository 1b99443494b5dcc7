"""What a person types: each command reads its options, calls the library, and prints."""
