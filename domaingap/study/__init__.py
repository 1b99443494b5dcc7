"""Many runs: what each leaves behind, what is run when, and what comes out of it."""
