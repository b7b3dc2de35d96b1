"""The same policy in other simulations: does what it learned depend on the one that it was trained in?"""
