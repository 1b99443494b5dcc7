"""What is wrong with the data sets below a folder, where, and what to do: everything is read once, nothing is changed.

``examine`` does it all: it finds the faces and their files (``files``), looks at every picture in a pool (``look``), judges
annotations as shapes (``annotations``, ``shape_model``, ``orders``) and against their pictures (``beside``, ``fit``,
``localiser``), finds what is there twice (``twice``, ``duplicates``), and gathers it (``faces``, ``findings``, ``report``).
"""
