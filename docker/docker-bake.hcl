# What is built, from the rows of matrix.json:
#   ENGINE=vllm docker buildx bake
# in the repository's root, where two links lead Bake to this file and to the rows. Every variable is read from the
# environment; `make image`, `make images`, `make push` and `make image-plan` set them. IMAGES, IMAGE_REPOSITORY
# and SOURCE are declared in matrix.json.

# The names that worker-vllm's users know, which do the same as ours below.
variable "DOCKERHUB_REPO" { default = "" }
variable "DOCKERHUB_IMG" { default = "" }
variable "RELEASE_VERSION" { default = "" }
variable "WORKER_CUDA_VERSION" { default = "" }
variable "HUGGINGFACE_ACCESS_TOKEN" { default = "" }

# Which rows; an empty word means all. CUDA is a version such as 12.9, of which worker-vllm's users give three parts.
variable "ENGINE" { default = "" }
variable "CUDA" { default = WORKER_CUDA_VERSION == "" ? "" : regex("^\\d+\\.\\d+", WORKER_CUDA_VERSION) }
variable "SM" { default = "" }

# What the images are called: registry and repository, and what their tags begin with.
variable "REPOSITORY" {
  default = DOCKERHUB_REPO == "" ? IMAGE_REPOSITORY : join("/", [
    DOCKERHUB_REPO, DOCKERHUB_IMG == "" ? regex("[^/]+$", IMAGE_REPOSITORY) : DOCKERHUB_IMG
  ])
}
variable "IMAGE_TAG" { default = RELEASE_VERSION == "" ? "dev" : RELEASE_VERSION }
variable "COMMIT" { default = "" }

# A model to bake in; without one the image is general.
variable "MODEL_NAME" { default = "" }
variable "MODEL_REVISION" { default = "" }
variable "TOKENIZER_NAME" { default = "" }
variable "QUANTIZATION" { default = "" }
variable "BASE_PATH" { default = "" }

# The end of its tag: the model's name for people, and a digest of all that decides what is baked in.
variable "MODEL_TAG" {
  default = MODEL_NAME == "" ? "" : join("-", [
    "", substr(regex_replace(lower(MODEL_NAME), "[^a-z0-9_.]+", "-"), 0, 40),
    substr(sha256(jsonencode([MODEL_NAME, MODEL_REVISION, TOKENIZER_NAME, QUANTIZATION, BASE_PATH])), 0, 12)
  ])
}

# The hub's token, for a gated model. It is a secret of the build: only its variable is named in what is planned.
variable "HF_TOKEN" { default = "" }

# A pip.conf for the build, where packages come from an index of one's own; it stays out of every layer.
variable "PIP_CONF" { default = "" }

group "default" {
  targets = ["image"]
}

target "image" {
  matrix = {
    row = [
      for r in IMAGES : r
      if(ENGINE == "" || r.engine == ENGINE) &&
      (CUDA == "" || lookup(r, "cuda", "none") == CUDA) &&
      (SM == "" || contains(lookup(r, "sm", []), SM))
    ]
  }
  name       = replace(row.name, ".", "-")
  context    = "."
  dockerfile = "Dockerfile"
  target     = MODEL_NAME == "" ? "worker" : "baked"
  platforms  = ["linux/amd64"]
  tags       = ["${REPOSITORY}:${IMAGE_TAG}-${row.name}${MODEL_TAG}"]
  args = {
    BASE           = row.base
    PACKAGES       = lookup(row, "packages", "")
    REINSTALL      = lookup(row, "reinstall", "")
    INDEX          = lookup(row, "index", "")
    ENGINE         = row.engine
    ADD            = lookup(row, "add", "")
    IMAGE          = row.name
    ALSO_ON_PATH   = lookup(row, "path", "/usr/local/bin")
    RUN_AS         = lookup(row, "user", "0")
    VERSION        = IMAGE_TAG
    COMMIT         = COMMIT
    SOURCE         = SOURCE
    MODEL_NAME     = MODEL_NAME == "" ? null : MODEL_NAME
    MODEL_REVISION = MODEL_REVISION == "" ? null : MODEL_REVISION
    TOKENIZER_NAME = TOKENIZER_NAME == "" ? null : TOKENIZER_NAME
    QUANTIZATION   = QUANTIZATION == "" ? null : QUANTIZATION
    BASE_PATH      = BASE_PATH == "" ? null : BASE_PATH
  }
  secret = concat(
    HF_TOKEN == "" ? [] : ["type=env,id=HF_TOKEN"],
    HF_TOKEN != "" || HUGGINGFACE_ACCESS_TOKEN == "" ? [] : ["type=env,id=HF_TOKEN,src=HUGGINGFACE_ACCESS_TOKEN"],
    PIP_CONF == "" ? [] : ["type=file,id=pip_conf,src=${PIP_CONF}"]
  )
}
