"""nbgrader's courses, graded by this autograder: its folders and its gradebook stay, and student code runs in our workers."""
