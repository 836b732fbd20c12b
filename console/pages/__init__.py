"""The pages: a module each, with its routes, what it reads, and a pure function for what it shows.

``PAGES`` in ``console/routes.py`` lists them.
"""
