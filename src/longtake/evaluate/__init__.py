"""What "good" means, as numbers: a grader that reads pixels, metrics on top of it, and reports."""
