# TUL PYNQ-Z2 (Zynq-7020). Untested: no Vivado here. The numbers are those of overlays/boards.py.
set part xc7z020clg400-1
set board_part tul.com.tw:pynq-z2:part0:1.0
set core_base 0x43C00000
set gpio_base 0x41200000
set led_pins {R14 P14 N16 M14}
set led_standard LVCMOS33
set system_vlnv xilinx.com:ip:processing_system7:5.5
set system_name processing_system7_0
set system_config {
  PCW_CRYSTAL_PERIPHERAL_FREQMHZ 50.0
  PCW_FPGA0_PERIPHERAL_FREQMHZ 142.857132
  PCW_EN_CLK0_PORT 1
  PCW_EN_RST0_PORT 1
  PCW_USE_M_AXI_GP0 1
  PCW_USE_S_AXI_HP0 1
  PCW_USE_S_AXI_HP1 1
  PCW_S_AXI_HP0_DATA_WIDTH 64
  PCW_S_AXI_HP1_DATA_WIDTH 64
  PCW_USE_FABRIC_INTERRUPT 1
  PCW_IRQ_F2P_INTR 1
}
set clock_pin FCLK_CLK0
set reset_pin FCLK_RESET0_N
set irq_pin IRQ_F2P
set master M_AXI_GP0
set master_clocks {M_AXI_GP0_ACLK}
set memory_ports {S_AXI_HP0 S_AXI_HP1}
set memory_clocks {S_AXI_HP0_ACLK S_AXI_HP1_ACLK}
