# The image of one streamsim server process. Build: docker build -t streamsim .
# What the sandbox needs in a container, and what it gets: docs/operations.md
ARG BASE=python:3.11.14-slim-bookworm

# First what changes rarely. Every version and hash is in the lock file; `make lock` writes it anew.
FROM ${BASE} AS libraries
WORKDIR /build
# Nothing is installed once the image is made: the base's pip does it, and none comes along.
RUN python -m venv --without-pip /opt/streamsim
ENV PIP_PYTHON=/opt/streamsim/bin/python PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
COPY requirements.hashes ./
# What `make serve` has and traces; `--build-arg LIBRARIES=all` adds Dask and scikit-learn.
ARG LIBRARIES=serving
# Without the libraries' own tests and sources in C, what builds packages, and symbols for debuggers, which nobody
# uses there. Files with a path to libraries of their own were laid out anew by who packed them, and stay as they are.
# Of Python modules the bytecode stands alone: a traceback names a library's file and line without its text.
RUN test "$LIBRARIES" = all || sed --in-place '/^# not in the image/,$d' requirements.hashes \
    && python -m pip install --no-compile --require-hashes --no-deps --requirement requirements.hashes \
    && python -m pip uninstall --yes setuptools \
    && find /opt/streamsim/lib -depth -type d -name tests -exec rm -r {} + \
    && find /opt/streamsim/lib -type f -regextype posix-extended -regex '.*\.(c|cpp|h|hpp|f90|a|pxd|pyx|pyi)' -delete \
    && python -m compileall -q -b /opt/streamsim/lib \
    && find /opt/streamsim/lib -type f -name '*.py' -exec sh -c 'for module; do test ! -e "${module}c" || rm "$module"; done' sh {} + \
    && find /opt/streamsim/lib -type f -name '*.so*' -not -path '*.libs/*' | while read -r library; do \
        readelf --dynamic "$library" | grep --quiet --extended-regexp 'R(UN)?PATH' || strip --strip-unneeded "$library"; \
    done

# The web console: Node.js is here alone, and no part of the image.
FROM ${BASE} AS console
WORKDIR /build
COPY .ci/console ./.ci/console
COPY console ./console
RUN mkdir -p streamsim/server && python .ci/console --strict

FROM libraries AS application
COPY setup.cfg pyproject.toml README.md ./
COPY streamsim ./streamsim
COPY handlers ./handlers
COPY policies ./policies
COPY --from=console /build/streamsim/server/console ./streamsim/server/console
RUN env -u PIP_PYTHON python -m pip wheel --no-deps --wheel-dir /wheels .

FROM ${BASE}
# A number, so that an orchestrator can see that it is not root. Sandboxed code runs with the same uid, and is
# kept apart by Landlock and seccomp.
RUN groupadd --gid 10001 streamsim \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin streamsim \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
# Two layers: a new version of the service alone changes the small one.
COPY --from=libraries /opt/streamsim /opt/streamsim
COPY --from=application /wheels /wheels
RUN export PYTHONDONTWRITEBYTECODE=1 \
    && python -m pip --python /opt/streamsim/bin/python install --no-cache-dir --no-deps /wheels/*.whl \
    && python -m pip --python /opt/streamsim/bin/python check
ENV PATH=/opt/streamsim/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STREAMSIM_SERVER_ADDRESS=0.0.0.0 \
    STREAMSIM_SERVER_PORT=8080 \
    STREAMSIM_STORAGE_DATA=/data
USER 10001:10001
WORKDIR /data
EXPOSE 8080
# Whether a decision could be committed now; a shell, because a Python that starts takes longer than the answer.
HEALTHCHECK --interval=10s --timeout=8s --start-period=60s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/$STREAMSIM_SERVER_PORT && printf 'GET /ready HTTP/1.0\\r\\n\\r\\n' >&3 && read -t 7 -r line <&3 && [[ $line == *' 200 '* ]]"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["streamsim"]
CMD ["serve"]
