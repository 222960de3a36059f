"""What is measured, each in a process of its own: a module has `main(run)`."""
