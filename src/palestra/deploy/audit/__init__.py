"""The checklist before a policy moves a robot, executed: families of checks, what they measure on, and their report."""
