"""`tpsctl shoot`: evidence for a path from dynamics that start on it.

finished    the run whose path is examined
states      when a trajectory has arrived
starts      the images that shots start from, and a control that is on no path
engine      the dynamics of the shots
committor   the job: shots from every start until the committor of each is known
ensemble    the job: trajectories from A to B by two-way shooting
run         what the command does
"""
