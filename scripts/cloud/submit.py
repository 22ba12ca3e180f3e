"""Submit `nemo-ext train` with NVIDIA NeMo-Run: processes of this machine, or Kubernetes. docs/cluster.md

NeMo-Run wants other versions than NeMo does, so it gets an environment of its own:
`pip install nemo_run 'leptonai<0.27' kubernetes`. This file imports nothing of nemo_ext, which is installed where the
training runs.
"""

import argparse
from typing import Any

import nemo_run as run


def executor(options: argparse.Namespace) -> Any:
    """Where it runs: NeMo-Run's word for it."""
    if options.on == "local":
        return run.LocalExecutor(ntasks_per_node=options.processes, launcher="torchrun")
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": options.claim}}]
    return run.KubeflowExecutor(
        image=options.image,
        namespace=options.namespace,
        num_nodes=options.nodes,
        nprocs_per_node=options.processes,
        gpus_per_node=options.processes,
        volumes=volumes,
        volume_mounts=[{"name": "data", "mountPath": "/data"}],
        workdir_pvc=options.claim,
        launcher="torchrun",
    )


def main() -> None:
    """Read the command line and submit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--on", choices=("local", "kubernetes"), default="local")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="on each node: one a GPU")
    parser.add_argument("--image", default="", help="kubernetes: with nemo_ext in it")
    parser.add_argument("--claim", default="nemo-ext", help="kubernetes: persistent volume claim, seen as /data")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--show", action="store_true", help="what would be submitted, and nothing else")
    parser.add_argument("train", nargs="*", help="options of `nemo-ext train`: experiment=vctk corpus=... out=...")
    options = parser.parse_args()
    if options.on == "kubernetes" and not options.image:
        parser.error("--image is missing: a container image with nemo_ext in it")
    script = run.Script("nemo_ext", m=True, entrypoint="python", args=["train", *options.train])
    with run.Experiment("nemo-ext-train") as experiment:
        experiment.add(script, executor=executor(options), name="train", tail_logs=True)
        if options.show:
            experiment.dryrun()
        else:
            experiment.run(detach=options.on == "kubernetes")


if __name__ == "__main__":
    main()
