# make install, make uninstall: DESTDIR, PREFIX and the folders under it are honoured.

MODELDIR  ?= $(PREFIX)/share/esrgan/models
DOCDIR    ?= $(PREFIX)/share/doc/esrgan
PACKAGING  = examples/packaging
MODELS    := $(wildcard examples/models/*.pth)
SERIES    := $(word 1,$(subst ., ,$(VERSION))).$(word 2,$(subst ., ,$(VERSION)))
EMPTY     :=
# Semicolons between the names, as CMake lists are written.
LIBS_CMAKE = $(subst $(EMPTY) ,;,$(strip $(LIBS)))

# Templates know where things will lie, DESTDIR left out.
FILL = sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' -e 's|@INCDIR@|$(INCDIR)|g' \
       -e 's|@VERSION@|$(VERSION)|g' -e 's|@VERSION_SERIES@|$(SERIES)|g' -e 's|@SOMAJOR@|$(SOMAJOR)|g' \
       -e 's|@SONAME@|$(SONAME)|g' -e 's|@LIBS@|$(LIBS)|g' -e 's|@LIBS_CMAKE@|$(LIBS_CMAKE)|g' \
       -e "s|@INC_FROM_LIB@|$$(realpath -m --relative-to='$(LIBDIR)' '$(INCDIR)')|g"

INSTALLED = $(BINDIR)/esrgan $(INCDIR)/esrgan.h $(LIBDIR)/libesrgan.a \
            $(LIBDIR)/libesrgan.so.$(VERSION) $(LIBDIR)/$(SONAME) $(LIBDIR)/libesrgan.so \
            $(LIBDIR)/pkgconfig/esrgan.pc $(LIBDIR)/cmake/esrgan/esrganConfig.cmake \
            $(LIBDIR)/cmake/esrgan/esrganConfigVersion.cmake $(MANDIR)/man1/esrgan.1 \
            $(DOCDIR)/LICENSE $(DOCDIR)/README.md $(MODELS:examples/models/%=$(MODELDIR)/%)

.PHONY: install uninstall
install: lib command
	install -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(INCDIR)' '$(DESTDIR)$(LIBDIR)/pkgconfig' \
	  '$(DESTDIR)$(LIBDIR)/cmake/esrgan' '$(DESTDIR)$(MANDIR)/man1' '$(DESTDIR)$(DOCDIR)' '$(DESTDIR)$(MODELDIR)'
	install -m 755 $(COMMAND) '$(DESTDIR)$(BINDIR)/esrgan'
	install -m 644 include/esrgan.h '$(DESTDIR)$(INCDIR)/'
	install -m 644 $(STATIC) '$(DESTDIR)$(LIBDIR)/'
	install -m 755 $(SHARED) '$(DESTDIR)$(LIBDIR)/'
	ln -sf libesrgan.so.$(VERSION) '$(DESTDIR)$(LIBDIR)/$(SONAME)'
	ln -sf $(SONAME) '$(DESTDIR)$(LIBDIR)/libesrgan.so'
	$(FILL) $(PACKAGING)/esrgan.pc.in >'$(DESTDIR)$(LIBDIR)/pkgconfig/esrgan.pc'
	for f in esrganConfig esrganConfigVersion; do \
	  $(FILL) $(PACKAGING)/$$f.cmake.in >'$(DESTDIR)$(LIBDIR)/cmake/esrgan/'$$f.cmake || exit 1; done
	$(FILL) examples/esrgan/esrgan.1 >'$(DESTDIR)$(MANDIR)/man1/esrgan.1'
	install -m 644 LICENSE README.md '$(DESTDIR)$(DOCDIR)/'
	$(if $(MODELS),install -m 644 $(MODELS) '$(DESTDIR)$(MODELDIR)/')

uninstall:
	rm -f $(INSTALLED:%='$(DESTDIR)%')
	-rmdir '$(DESTDIR)$(LIBDIR)/cmake/esrgan' '$(DESTDIR)$(DOCDIR)' '$(DESTDIR)$(MODELDIR)' \
	  '$(DESTDIR)$(PREFIX)/share/esrgan' 2>/dev/null
