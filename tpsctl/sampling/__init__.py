"""What a run of `tpsctl sample` is made of.

assemble      the sections of a recipe -> the objects that do the work
batch         a batch of paths: guessed, optimized, judged
trace, clock  how that went, and how long it took
judge         the verdict on finished paths
results       files, manifest, one status per path
identity      what makes two runs the same run
side_by_side  one run in several processes of one machine
"""
