# One image for every service of docker-compose.yml; the command says which part of the house it is.
#   docker build --target cpu -t wanxing:cpu .
#   docker build --target gpu -t wanxing:gpu --build-arg PADDLE_INDEX=<Paddle's own index> .
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    WANXING_HOME=/data HOST=0.0.0.0 PORT=8000 DJANGO_SETTINGS_MODULE=webapp.settings
# Paddle and ONNX Runtime need GNU OpenMP.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
RUN useradd --create-home --uid 1000 wanxing && mkdir /data && chown wanxing /data
COPY requirements/ requirements/
VOLUME /data
EXPOSE 8000
CMD ["python", "manage.py", "up"]

FROM base AS cpu
RUN python -m pip install --no-deps -r requirements/cpu.txt
COPY . .
USER wanxing

FROM base AS gpu
# The GPU wheel of Paddle 3 comes from Paddle's own index; the other pins stay.
ARG PADDLE_INDEX
ARG PADDLE_VERSION=3.3.1
RUN test -n "$PADDLE_INDEX" || (echo "give --build-arg PADDLE_INDEX=… (see Paddle's install page)" && exit 1)
RUN python -m pip install --no-deps -r requirements/gpu.txt \
 && python -m pip install "paddlepaddle-gpu==${PADDLE_VERSION}" -i "$PADDLE_INDEX"
COPY . .
USER wanxing
