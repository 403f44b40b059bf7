"""`tpsctl status`: what has become of the shards of a run.

The truth is in tpsctl's own files (`state/shards/*/status.json`, `manifest.json`), which every shard rewrites
every few seconds. Slurm, where it is there, adds which tasks wait, run or were ended; it forgets a job some
minutes after its end, so nothing is concluded from its silence alone except for a shard that is silent too.

A shard is *waiting* (for its turn), *running*, *complete*, *stopped* (early, can go on), *failed* (ended with
an error), or *lost*: its file says running, but it has been silent and its process or job is gone.
"""
