# make sample     install, then find transition paths of alanine dipeptide with the embedded prior
# make test       install, then run the tests in two processes (TEST_WORKERS=4: in four)
# make test-path-sampling   exported paths in OpenPathSampling and infretis, in an environment of their own
# make faults     install, then run the whole fault campaign: kills, full disks, preemption, time limits (an hour)
# make docs       render the documentation into site/
# make check      what CI runs: lint, format, types, tests, documentation, other Pythons
# make pythons    what needs no PyTorch, under every other Python that is declared and installed
# make figures    draw the pictures of the documentation anew, from runs of their own (four minutes)
# make news       show the entries of the changelog that wait for a release
# make bench      step, time to action, energies, start-up, growth: all CPU benchmarks, 10 minutes
# make bench-paths   more: batches and threads; the published protocol in full; paths beside NEB, the force field and a flat model
# make bench-gpu  one optimization step of the published networks on a CUDA GPU
# make gpu-check   everything about a CUDA GPU in ten minutes: tests, steps, recipes; one table, one JSON
# make gpu-wheels  the packages that a GPU machine without a network needs; there: make gpu-check GPU_PYTHON=python3
# make reproduce-alanine   simulate alanine dipeptide and train its priors anew, into runs/alanine_dipeptide
# make reproduce-mueller-brown   train all kinds of prior on the Mueller-Brown surface and find paths, from nothing
# make reproduce-panel   simulate three small molecules, train their priors, find routes on them, compare with the force fields
# make reproduce-trp-cage   simulate a structure-based model of Trp-cage that folds, train a prior, find its folding paths, judge them
# make reproduce-hydrogen   Action Matching on the Schroedinger equation of hydrogen; HYDROGEN_OPTIONS="--steps 2000" for less
# make reproduce-published-chignolin (-trp_cage, -bba, -villin, -protein_g)   published protocol, with your checkpoints
#
# Everything is installed once, into .venv. On Linux without a CUDA GPU choose the small CPU build of
# PyTorch (README.md, "Install"):  make sample TORCH="torch --index-url <the CPU index of pytorch.org>"

PYTHON ?= python3
TORCH  ?= torch==2.13.0
GPU_PYTHON ?= .venv/bin/python
TEST_WORKERS ?= 2
PIP_INSTALL = .venv/bin/python -m pip install --quiet --disable-pip-version-check

FAST_FOLDERS = chignolin trp_cage bba villin protein_g
PANEL = butane pro ala2

.PHONY: help sample test test-path-sampling faults lint format docs check pythons figures news
.PHONY: bench bench-gpu gpu-check gpu-wheels bench-paths reproduce-alanine reproduce-mueller-brown reproduce-hydrogen
.PHONY: reproduce-trp-cage reproduce-panel $(PANEL:%=reproduce-panel-%) clean
.PHONY: $(FAST_FOLDERS:%=reproduce-published-%)
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

sample: .venv/installed
	.venv/bin/tpsctl sample recipes/alanine_dipeptide.yaml

test: .venv/installed-dev
	.venv/bin/python -m pytest -n $(TEST_WORKERS) --dist loadfile --durations=10

# Both programs pin NumPy below 2 and run with NumPy 2 when they are installed without their pins.
.venv/path-sampling/installed: .venv/installed-dev
	.venv/bin/python -m venv .venv/path-sampling
	.venv/path-sampling/bin/pip install --quiet "numpy>=2" scipy pandas netcdf4 svgwrite networkx matplotlib ujson dill \
		sqlalchemy future psutil six mdtraj openmm ase tomli tomli-w
	.venv/path-sampling/bin/pip install --quiet --no-deps openpathsampling==1.7.0 infretis
	touch $@

test-path-sampling: .venv/path-sampling/installed
	TPSCTL_PATH_SAMPLING_PYTHON=.venv/path-sampling/bin/python .venv/bin/python -m pytest tests/output/exports

faults: .venv/installed-dev
	.venv/bin/python -m pytest -m "campaign or slow" tests/faults tests/jobs

lint: .venv/installed-dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

format: .venv/installed-dev
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

docs: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet
	@echo "site/index.html"

check: lint test pythons

pythons: .venv/installed-dev
	.venv/bin/python .ci/pythons.py

figures: .venv/installed-dev
	.venv/bin/python docs/figures.py

news: .venv/installed-dev
	.venv/bin/towncrier build --draft --version next

bench: .venv/installed-dev
	.venv/bin/python -m benchmarks.network_step
	.venv/bin/python -m benchmarks.time_to_action
	.venv/bin/python -m benchmarks.openmm_energies
	.venv/bin/python -m benchmarks.start_up
	.venv/bin/python -m benchmarks.growth

bench-paths: .venv/installed-dev
	.venv/bin/python -m benchmarks.batches
	.venv/bin/python -m benchmarks.published_protocol
	.venv/bin/python -m benchmarks.alanine_controls
	.venv/bin/python -m benchmarks.force_field_steps

bench-gpu: .venv/installed-dev
	.venv/bin/python -m benchmarks.network_gpu

gpu-check: $(if $(filter .venv/%,$(GPU_PYTHON)),.venv/installed-dev)
	$(GPU_PYTHON) -m benchmarks.gpu_check

gpu-wheels: .venv/installed-dev
	@.venv/bin/python -m benchmarks.gpu_wheels

reproduce-alanine: .venv/installed
	.venv/bin/tpsctl simulate recipes/alanine_dipeptide/simulate.yaml
	.venv/bin/tpsctl train recipes/alanine_dipeptide/train_diffusion.yaml
	.venv/bin/tpsctl train recipes/alanine_dipeptide/train_flow.yaml

reproduce-mueller-brown: .venv/installed
	.venv/bin/tpsctl train recipes/mueller_brown_train_diffusion.yaml
	.venv/bin/tpsctl train recipes/mueller_brown_train_flow.yaml
	.venv/bin/tpsctl train recipes/mueller_brown_train_action_matching.yaml
	.venv/bin/tpsctl sample recipes/mueller_brown_diffusion.yaml
	.venv/bin/tpsctl sample recipes/mueller_brown_flow.yaml
	.venv/bin/tpsctl sample recipes/mueller_brown_action_matching.yaml

reproduce-hydrogen: .venv/installed
	.venv/bin/python -m benchmarks.hydrogen $(HYDROGEN_OPTIONS)

reproduce-panel: $(PANEL:%=reproduce-panel-%)
	.venv/bin/python -m benchmarks.learned_panel runs/panel

$(PANEL:%=reproduce-panel-%): reproduce-panel-%: .venv/installed
	.venv/bin/tpsctl simulate recipes/panel/$*_simulate.yaml
	.venv/bin/tpsctl train recipes/panel/$*_train.yaml
	.venv/bin/tpsctl sample recipes/panel/$*.yaml || test $$? -eq 3  # not all complete: the routes are there and are judged

reproduce-trp-cage: .venv/installed
	.venv/bin/tpsctl simulate recipes/trp_cage/simulate.yaml
	.venv/bin/tpsctl train recipes/trp_cage/train_diffusion.yaml
	.venv/bin/tpsctl sample recipes/trp_cage.yaml --set prior.checkpoint=runs/trp_cage/diffusion.safetensors || test $$? -eq 3  # not all converged: the paths are there and are judged
	.venv/bin/python -m benchmarks.trp_cage runs/trp_cage/dataset.npz --checkpoint runs/trp_cage/diffusion.safetensors --diffusion-time 0.108

$(FAST_FOLDERS:%=reproduce-published-%): reproduce-published-%: .venv/installed
	.venv/bin/tpsctl sample recipes/fast_folders/$*_diffusion.yaml
	.venv/bin/tpsctl sample recipes/fast_folders/$*_flow.yaml

clean:
	rm -rf .venv build dist site .mypy_cache .pytest_cache .ruff_cache

.venv/installed: pyproject.toml hatch_build.py tpsctl/networks/graph_transformer/attend.c
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) $(TORCH)
	$(PIP_INSTALL) --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP_INSTALL) --editable ".[dev]"
	$(PIP_INSTALL) --editable ".[pulchra]" || echo "PULCHRA could not be built (it needs a C compiler): its tests are skipped"
	@touch $@
