# The commands of this project. `make train` and `make test` need Python 3.11 or newer and nothing else.

PYTHON ?= python3
# the build of torch to install: any that pip takes, such as a wheel for your CUDA
TORCH ?= torch==2.13.0
VENV ?= .venv
# MONAI Label needs an older numpy: it lives apart
LABEL_VENV ?= .venv-monai-label
BUNDLE = $(VENV)/bin/python -m bundle
RUN = $(VENV)/bin/python -m monai.bundle run
OVERLAY = configs/overlays/experiments/quickstart.json
# where the quickstart writes; the data set and the training are reused by the next call
DATA = data/phantom
OUT = runs/quickstart

# real anatomies for `make weights`; where they are absent it makes do with the procedural anatomy
MAPS ?= ../shared/data/labels/multiorgan
REAL ?= ../shared/data/ct/torso_3mm
PEOPLE ?= ../shared/data/labels/totalsegmentator
# scans for `make weights`, and how many of them it makes before the training begins
CASES ?= 520
FIRST ?= 40
# `make weights GPU=1`: the paper's patches, four at a time, cut and changed on the GPU; every core makes scans, at low priority
JOBS ?= $(if $(GPU),$(shell getconf _NPROCESSORS_ONLN),1)
comma := ,
ON_GPU = $(if $(GPU),$(foreach name,weights_gpu gpu_augmentation,$(comma) 'configs/overlays/train/$(name).json'))
WEIGHTS = --dataset_dir data/weights --output_dir runs/weights --cache_dir runs/weights/cache $(if $(GPU),--num_workers 4)

# threads that wait by spinning starve the others where cores are shared, be it with the process that loads the scans:
# measured with other programs running, an epoch of the quickstart took 120 s spinning and 15 s waiting
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help train lint test test-cpus test-slow test-monai-label test-container weights clean-quickstart

help:
	@echo "make train             synthetic data, training, evaluation, inference: about a quarter of an hour on 2 cores"
	@echo "make lint              style and types"
	@echo "make test              the tests"
	@echo "make test-cpus         the numeric tests under each set of instructions that this CPU has: no AMX, no AVX512, no AVX2"
	@echo "make test-slow         the tests that take longer: kills, two processes, a real CT"
	@echo "make test-monai-label  the end-to-end test with a real MONAI Label server, in an environment of its own"
	@echo "make test-container    the steps of Containerfile in a clean root file system, and inference in it; as root, needs debootstrap"
	@echo "make weights           retrain models/model.pt: hours on 2 cores; resumes where it was interrupted (docs/weights.md)"
	@echo "make clean-quickstart  forget the data and the training of make train"

$(VENV)/.ready: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt "$(TORCH)"
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt "$(TORCH)" -e ".[all]"
	@touch $@

train: $(VENV)/.ready
	$(BUNDLE) phantom $(DATA) --cases 44 --unlabelled 3
	$(RUN) training --config_file "['configs/train.json', '$(OVERLAY)']" --dataset_dir $(DATA) --output_dir $(OUT) --resume True
	$(RUN) inference --config_file "['configs/inference.json', 'configs/overlays/inference/evaluate.json', '$(OVERLAY)']" \
		--dataset_dir $(DATA) --ckpt_path $(OUT)/model.pt --section test --output_dir $(OUT)/evaluation
	$(RUN) inference --config_file "['configs/inference.json', '$(OVERLAY)']" \
		--dataset_dir $(DATA)/imagesTs --ckpt_path $(OUT)/model.pt --output_dir $(OUT)/inference
	$(BUNDLE) quickstart-report $(OUT)

# ruff: rules, format, and that each function says its types (ruff.toml); mypy: the bodies of the whole package (setup.cfg)
lint: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

test: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto -m "not slow" --durations=10

# one after the other, each shared out over the cores
test-cpus: $(VENV)/.ready
	$(VENV)/bin/python tests/run_on_cpus.py -n auto

test-slow: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto -m slow

test-monai-label: $(VENV)/.ready
	$(BUNDLE) monai-label-install $(LABEL_VENV)
	MONAI_LABEL_PYTHON="$(abspath $(LABEL_VENV))/bin/python" $(VENV)/bin/python -m pytest tests/monai_label tests/test_telemetry.py --durations=0

test-container: $(VENV)/.ready
	$(BUNDLE) phantom runs/container/data --cases 2 --unlabelled 2
	$(VENV)/bin/python tests/run_container.py runs/container/root --scans runs/container/data/imagesTs --out runs/container/out $(CONTAINER)

SYNTHESISE = $(BUNDLE) synthesise data/weights --validation 5 --whole 0.2 \
	$(if $(wildcard $(MAPS)),--maps $(MAPS)) $(if $(wildcard $(REAL)),--real $(REAL)) $(if $(wildcard $(PEOPLE)),--people $(PEOPLE))

# first without the real CT, which then is a test of the carry-over; then with it. A few scans to begin with, the others are made
# while the training runs, with what it leaves of the cores; they end with it where it is interrupted
weights: $(VENV)/.ready
	$(SYNTHESISE) --cases $(FIRST)
	mkdir -p runs/weights
	nice -n 19 $(SYNTHESISE) --cases $(CASES) --jobs $(JOBS) > runs/weights/synthesis.log 2>&1 & synthesis=$$!; \
	trap "kill $$synthesis 2> /dev/null" EXIT; trap "exit 130" INT TERM; \
	$(RUN) training --config_file "['configs/train.json', 'configs/overlays/train/weights.json'$(ON_GPU)]" $(WEIGHTS) \
		--datalist data/weights/without_real.json $(if $(wildcard $(REAL)),--with_test True) && \
	{ echo "waiting for the last scans: runs/weights/synthesis.log"; wait $$synthesis; }
	$(RUN) training --config_file "['configs/train.json', 'configs/overlays/train/weights.json', 'configs/overlays/train/weights_real.json'$(ON_GPU)]" $(WEIGHTS)
	$(BUNDLE) half-precision runs/weights/models/model.pt models/model.pt

clean-quickstart:
	rm -rf $(DATA) $(OUT)
