"""The boundary: the student's code runs in a confined child process, and plain typed data crosses."""
