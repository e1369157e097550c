"""Are the tests any good? What keeps people safe is taken out, and a test has to notice.

`rules` has the rules that matter most, each with the text to take out (test_rules.py tries them in turn).
`python -m tests.mutants` changes everything else that can be changed, one thing at a time.
"""
