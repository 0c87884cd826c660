# make demo: a small picture, enlarged by the model in the box, beside the original it was reduced
# from.
DEMO = demo-output.png

.PHONY: demo
demo:
	@$(MAKE) --no-print-directory -j$(JOBS) command
	$(COMMAND) upscale examples/images/demo.png -o $(DEMO)
	@$(COMMAND) eval --hr examples/images/demo-hr.png --lr examples/images/demo.png
	@echo "look at $(DEMO) beside examples/images/demo-hr.png, the original"
