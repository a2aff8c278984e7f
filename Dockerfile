# lid serve on CPUs. Build the image, and run it with a model, such as the one that ./run.sh trains:
#   docker build -t lid .
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/exp/mini/lid_mini_ecapa_raw:/model:ro" lid
# The page is then at http://localhost:8000.
FROM python:3.12-slim
WORKDIR /app
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY lid_toolkit ./lid_toolkit
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu --constraint constraints.txt ".[torch,serve,formats,vad]"
RUN useradd --system lid
USER lid
ENV LID_MODEL=/model
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://localhost:8000/healthz')"]
CMD ["lid", "serve", "--host", "0.0.0.0", "--port", "8000"]
