"""Files of a run: trajectories, tables, figures, manifest. Each appears complete or not at all."""
