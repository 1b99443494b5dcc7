"""What a person runs: one module per recipe and command; the library never imports this."""
