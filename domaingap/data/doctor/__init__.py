"""What is wrong with the data sets below a folder, where, and what to do: everything is read once, nothing is changed.

``examine`` opens the data sets (``files``), looks at every picture in a pool (``look``), judges the annotations as shapes
(``shape_model``, ``orders``) and against their pictures (``localiser``, ``fit``), finds pictures that are there twice
(``duplicates``), and gathers it all (``findings``, ``report``).
"""
