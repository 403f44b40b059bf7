"""Slurm: the text of batch scripts, and the few Slurm commands that submitting and watching them needs.

The unit of work is one resumable command, `tpsctl sample RECIPE --out DIR --shard i/N`. A job array runs one
per task; each requeues itself while its shard is unfinished; a last job, which waits for all of them, gathers.
What a shard has done is read from tpsctl's own files, never from Slurm's memory of jobs, which is short.
"""
