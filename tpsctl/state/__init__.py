"""What an unfinished run keeps in DIR/state, so that a kill at any moment costs little and loses nothing.

    plan.json                                  what is computed: digest, recipe, paths, paths per batch
    batches/batch_00003.safetensors            a finished batch of paths, all that the final files need
    shards/0001_of_0004/status.json            where a shard stands, for `tpsctl status`
    shards/0001_of_0004/lease.json             which process works on it
    shards/0001_of_0004/running-00003-00000120.safetensors    snapshots of the batch under way, the last two

A batch is a group of consecutive paths that is guessed, optimized and judged together; its composition does not
depend on the number of shards, so that any number of them gives the same paths, bit by bit. Every file is JSON or
safetensors, appears complete or not at all, and the safetensors carry a hash of their content.
"""
