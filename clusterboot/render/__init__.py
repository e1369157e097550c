"""All output: results, problems and progress as text, JSON and a shell script.

Text functions take a rich `Console` and print to it; nothing here opens a stream of its own. Importing
this package, `render.json` or `render.script` does not import rich.
"""
