# AMD ZCU104 (Zynq UltraScale+ ZU7EV). Untested: no Vivado here. The numbers are those of overlays/boards.py.
set part xczu7ev-ffvc1156-2-e
set board_part xilinx.com:zcu104:part0:1.1
set core_base 0xA0000000
set gpio_base 0xA0010000
set led_pins {D5 D6 A5 B5}
set led_standard LVCMOS33
set system_vlnv xilinx.com:ip:zynq_ultra_ps_e:3.5
set system_name zynq_ultra_ps_e_0
set system_config {
  PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ 300
  PSU__CRL_APB__PL0_REF_CTRL__SRCSEL IOPLL
  PSU__FPGA_PL0_ENABLE 1
  PSU__USE__M_AXI_GP0 1
  PSU__USE__M_AXI_GP1 0
  PSU__USE__M_AXI_GP2 0
  PSU__USE__S_AXI_GP2 1
  PSU__USE__S_AXI_GP3 1
  PSU__SAXIGP2__DATA_WIDTH 64
  PSU__SAXIGP3__DATA_WIDTH 64
  PSU__USE__IRQ0 1
}
set clock_pin pl_clk0
set reset_pin pl_resetn0
set irq_pin pl_ps_irq0
set master M_AXI_HPM0_FPD
set master_clocks {maxihpm0_fpd_aclk}
set memory_ports {S_AXI_HP0_FPD S_AXI_HP1_FPD}
set memory_clocks {saxihp0_fpd_aclk saxihp1_fpd_aclk}
